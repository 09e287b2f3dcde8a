# The second peer: Varnish, which keeps whole objects and cuts ranges out of them.
# What stands between at-signs is filled in by benchmarks/servers.py.
vcl 4.1;

backend origin {
    .host = "127.0.0.1";
    .port = "@ORIGIN_PORT@";
}

sub vcl_backend_fetch {
    set bereq.url = "/bench" + bereq.url;
}

sub vcl_backend_response {
    set beresp.ttl = 7d;
}

sub vcl_deliver {
    if (obj.hits > 0) {
        set resp.http.X-Cache = "HIT";
    }
    set resp.http.Access-Control-Allow-Origin = "*";
}
