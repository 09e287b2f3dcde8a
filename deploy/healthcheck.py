"""The container's health check: exit 0 when the admin port's /healthz answers 200."""

import http.client
import os
import sys

connection = http.client.HTTPConnection(
    "127.0.0.1", int(os.environ.get("EDGECACHE_ADMIN__PORT", "9180")), timeout=2
)
try:
    connection.request("GET", "/healthz")
    status = connection.getresponse().status
except (OSError, http.client.HTTPException) as error:
    sys.exit(f"/healthz: {error}")
sys.exit(0 if status == 200 else f"/healthz: {status}")
