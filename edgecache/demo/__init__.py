"""`edgecache demo`: an embedded S3, sample objects, a replayed visit, and what it saved."""
