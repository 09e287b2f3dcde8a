// To be merged into the app's own next.config; next.image-loader.mjs lies beside it.
const base = process.env.NEXT_PUBLIC_MEDIA_BASE_URL?.replace(/\/+$/, '');

const nextConfig = {
  images: {
    loader: 'custom',
    loaderFile: './next.image-loader.mjs',
  },
  // Addresses of the app's own proxy routes, wherever they are stored, lead to edgecache: no byte
  // of media passes the app any more. Not permanent, so that taking it away takes it away.
  async redirects() {
    return base
      ? [
          {
            source: '/api/:kind(images|media|videos)/s3/:key*',
            destination: `${base}/api/:kind/s3/:key*`,
            permanent: false,
          },
        ]
      : [];
  },
};

export default nextConfig;
