'use client';

// <Image src="outputs/user/cat.png" ... /> and the paths of the app's old proxy routes, straight
// from edgecache. Files of the app itself and other sites' images stay what they are.
const BASE = (process.env.NEXT_PUBLIC_MEDIA_BASE_URL ?? '').replace(/\/+$/, '');
const PROXY_ROUTE = /^\/api\/(?:images|media|videos)\/s3\//;

// Only the default export: a server component could not call another one of a client file.
export default function mediaLoader({ src, width, quality }) {
  if (/^[a-z][a-z0-9+.-]*:|^\/\//i.test(src)) return src;
  if (src.startsWith('/') && !PROXY_ROUTE.test(src)) return src;
  const url = src.startsWith('/')
    ? `${BASE}${src}`
    : `${BASE}/${src.split('/').map(encodeURIComponent).join('/')}`;
  // Next.js wants the width in the address. edgecache keeps one object for all of them.
  return `${url}${url.includes('?') ? '&' : '?'}w=${width}&q=${quality ?? 75}`;
}
