"""Settings that are used at the start only, so that a config that is read again can't change them.

Rule of this module: whoever goes by a config that was read again goes by `keep_fixed` of it, or the
processes of a server, which start at different times, would differ.
"""

from edgecache.config import Config
from edgecache.config_listen import Listen

FIXED = {
    # Of TLS only the files' content is read again.
    "listen": tuple(name for name in Listen.model_fields if name != "tls"),
    "admin": ("host", "port"),
    "cache": ("dir", "size", "min_free", "policy", "slice_size"),
    "log": ("level", "access", "access_file"),
}


def changed(old: Config, new: Config) -> list[str]:
    """Fixed settings that differ."""
    names = [
        f"{section}.{name}"
        for section, names in FIXED.items()
        for name in names
        if getattr(getattr(old, section), name) != getattr(getattr(new, section), name)
    ]
    return [*names, *["listen.tls"] * (speaks_tls(old) != speaks_tls(new))]


def keep_fixed(old: Config, new: Config) -> Config:
    """`new`, but for what can't be changed."""
    kept = {
        section: {name: getattr(getattr(old, section), name) for name in names}
        for section, names in FIXED.items()
    }
    if speaks_tls(old) != speaks_tls(new):
        kept["listen"]["tls"] = old.listen.tls
    sections = {
        section: getattr(new, section).model_copy(update=update) for section, update in kept.items()
    }
    return new.model_copy(update=sections)


def speaks_tls(config: Config) -> bool:
    return config.listen.tls.cert is not None
