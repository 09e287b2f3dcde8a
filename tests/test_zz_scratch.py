import asyncio, gc, time
import pytest
from tests import serving
from tests.pattern import Pattern, Bytes
from tests.serving import SLICE
from tests.reading import *
from tests.faults import *
serve = serving.serve
KEY="outputs/a.mp4"
CASES = {
 "u01": [Cut(SLICE//2)],
 "u02": [Framed(Framing.CLOSE), Cut(SLICE//2)],
 "u03": [Framed(Framing.CHUNKED), Cut(SLICE//2)],
 "u03end": [Framed(Framing.CHUNKED), Cut(SLICE)],
 "u04": [Extra(b"x"*100)],
 "u04chunk": [Framed(Framing.CLOSE), Fields({"Content-Range": f"bytes 0-{SLICE-1}/{4*SLICE}"}), Extra(b"x"*100000)],
 "shift": [Shift(1)], "short": [Shift(0,-1)], "long":[Shift(0,1)],
 "nocr":[ContentRange(None)], "wrongtotal":[ContentRange("bytes {first}-{last}/99999999")], "star":[ContentRange("bytes {first}-{last}/*")],
 "multi":[Multipart()],
 "letters":[ContentRange("bytes a-b/c")], "digits":[ContentRange("bytes 0-"+"9"*40+"/"+"9"*41)], "neg":[ContentRange("bytes -5-{last}/{total}")],
 "hugetotal":[ContentRange("bytes {first}-{last}/"+"9"*18)],
 "500":[Error(500)], "502":[Error(502)], "503":[Error(503)], "slow":[Error(503,"SlowDown")], "429":[Error(429,"SlowDown", fields={"Retry-After":"7"})],
 "403":[Error(403,"AccessDenied")], "skew":[Error(403,"RequestTimeTooSkewed")],
 "redir":[Redirect("http://169.254.169.254/")],
 "noheaders":[Stall()], "midbody":[Stall(100)],
 "bighead":[Fields({"X-Big":"a"*1000000})], "manyhead":[Fields({f"X-{i}":"a"*100 for i in range(10000)})],
 "cr":[Fields({"X-A":"a\rb"})], "nul":[Fields({"X-A":"a\0b"})], "nul-etag":[Fields({"ETag":'"a\r\nb"'})],
 "cookie":[Fields({"Set-Cookie":"a=b"})],
 "gzip":[Fields({"Content-Encoding":"gzip"})],
 "100s":[Before(b"HTTP/1.1 100 Continue\r\n\r\n"*1000)],
 "garbage":[Raw(b"\x00\x01garbage\r\n\r\n")], "empty":[Raw(b"")],
 "304":[Bare(304)], "204":[Bare(204)], "cl-1":[Fields({"Content-Length":"-1"})],
 "416":[Error(416)], "412":[Error(412)],
 "longetag":[Fields({"ETag":'"'+"a"*200+'"'})],
 "longetag2":[Fields({"ETag":'"'+"a"*300+'"'})],
 "cl+1":[Fields({"Content-Length":str(SLICE+1)})],"cl2":[Fields({"Content-Length":str(SLICE//2)})],
 "reset":[Reset(100)], "cut0":[Cut()], "reset0":[Reset()],
}
@pytest.mark.parametrize("name", CASES)
async def test_fault(serve, name):
    async with serve(log={"access":"off"}, fetch={"connect_timeout":0.3,"first_byte_timeout":0.3,"stall_timeout":0.3}) as site:
        p = Pattern(4*SLICE, 3)
        site.origin.put(KEY, p)
        f = site.origin.fault(*CASES[name], times=1)
        t=time.perf_counter()
        try:
          async with asking(site, "/"+KEY, ()) as d:
            await asyncio.wait_for(d.head(), 5)
            try: body = await asyncio.wait_for(d.rest(),5); ok = "RIGHT" if body==p.read() else body[:60]
            except asyncio.IncompleteReadError as e: ok = f"CUT {len(e.partial)} {p.read().startswith(e.partial)}"
            except ConnectionResetError as e: ok="RESET"
            print(f"{name:10} {d.status} {ok} {d.headers.get('Cache-Status')} reqs={len(site.origin.requests)} {time.perf_counter()-t:.2f}s slices={site.server._given_store.slices}")
        except BaseException as e:
            print(f"{name:10} EXC {e!r} reqs={len(site.origin.requests)}")
        site.origin.faults.clear()
        got = await site.get("/"+KEY)
        print("       next", got.status, got.body==p.read(), got.cache_status)
