"""edgecache: a caching edge server for media on private S3-compatible storage."""

__version__ = "0.1.0"
