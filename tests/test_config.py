"""Settings: where they come from, which are refused, and what a refusal says (and never says)."""

import json
import os
import traceback
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from edgecache import config, config_listen
from edgecache.core.errors import ConfigError

RUNPOD = {
    "RUNPOD_S3_ENDPOINT": "https://s3api-eu-ro-1.runpod.io/",
    "RUNPOD_S3_BUCKET_NAME": "vol123",
    "RUNPOD_S3_ACCESS_KEY": "user_abc",
    "RUNPOD_S3_SECRET_KEY": "rps_hunter2",
}
ORIGIN = "origins: {main: {endpoint: 'http://127.0.0.1:9000', bucket: media}}\n"
NO_SETTING = "there is no such setting"


@pytest.fixture(autouse=True)
def bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of the machine's, and no ./config.yaml."""
    for name in [n for n in os.environ if n.upper().startswith(("EDGECACHE_", "RUNPOD_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "config.yaml") -> Path:
    path = Path(name)
    path.write_text(text, "utf-8")
    return path


def setenv(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def problems(text: str = ORIGIN) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.load(write(text))
    return caught.value.message.split("\n")


# Where settings come from


def test_the_runpod_variables_alone_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    setenv(monkeypatch, RUNPOD)
    assert config.load().origins == {
        "runpod": config.Origin(
            endpoint="https://s3api-eu-ro-1.runpod.io",
            region="EU-RO-1",
            bucket="vol123",
            access_key="user_abc",
            secret_key=SecretStr("rps_hunter2"),
        )
    }


def test_the_region_may_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    setenv(monkeypatch, RUNPOD | {"RUNPOD_S3_REGION": "US-KS-2"})
    assert config.load().origins["runpod"].region == "US-KS-2"


@pytest.mark.parametrize(
    ("endpoint", "region"),
    [
        ("https://s3api-eu-ro-1.runpod.io", "EU-RO-1"),
        ("https://S3API-EUR-IS-1.runpod.io/", "EUR-IS-1"),
        ("https://s3.eu-central-1.amazonaws.com", "eu-central-1"),
        ("https://s3-us-west-2.amazonaws.com", "us-west-2"),
        ("https://s3.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("https://s3.us-west-004.backblazeb2.com", "us-west-004"),
        ("https://s3.amazonaws.com", "us-east-1"),
        ("http://127.0.0.1:9000", "us-east-1"),
        ("http://minio.local", "us-east-1"),
    ],
)
def test_the_region_defaults_to_the_one_in_the_host(endpoint: str, region: str) -> None:
    assert config.Origin(endpoint=endpoint, bucket="b").region == region


def test_an_origin_in_the_file_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    setenv(monkeypatch, RUNPOD)
    assert list(config.load(write(ORIGIN)).origins) == ["main"]


@pytest.mark.parametrize(
    "variables",
    [
        {"EDGECACHE_ORIGINS__MAIN__ENDPOINT": "http://s3", "EDGECACHE_ORIGINS__MAIN__BUCKET": "b"},
        {"EDGECACHE_ORIGINS": '{"main": {"endpoint": "http://s3", "bucket": "b"}}'},
    ],
)
def test_an_origin_in_the_environment_is_the_only_one(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    setenv(monkeypatch, RUNPOD | variables)
    assert list(config.load().origins) == ["main"]


def test_the_environment_overrides_the_file_field_by_field(monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(ORIGIN + "cache: {size: 5GiB, slice_size: 512KiB}\n")
    setenv(
        monkeypatch,
        {"EDGECACHE_CACHE__SIZE": "7GiB", "EDGECACHE_ORIGINS__MAIN__BUCKET": "other"},
    )
    loaded = config.load(path)
    assert (loaded.cache.size, loaded.cache.slice_size) == (7 * 2**30, 512 * 2**10)
    assert loaded.origins["main"].bucket == "other"
    assert loaded.origins["main"].endpoint == "http://127.0.0.1:9000"


def test_which_file_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    setenv(monkeypatch, RUNPOD)
    assert config.load().listen.port == 8080
    write("listen: {port: 1001}")
    assert config.load().listen.port == 1001
    monkeypatch.setenv("EDGECACHE_CONFIG", str(write("listen: {port: 1002}", "named.yaml")))
    assert config.load().listen.port == 1002
    assert config.load(write("listen: {port: 1003}", "given.yaml")).listen.port == 1003


def test_an_empty_file_or_section_means_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    setenv(monkeypatch, RUNPOD)
    assert config.load(write("")) == config.load(write("cache:\n  # size: 1GiB\nlog:\n"))


def test_lists_come_as_json_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    setenv(
        monkeypatch,
        RUNPOD
        | {
            "EDGECACHE_ACCESS__PUBLIC": '["outputs/", "thumbs/"]',
            "EDGECACHE_ROUTES": '[{"path": "/", "ttl": "1d"}]',
        },
    )
    loaded = config.load()
    assert loaded.access.public == ("outputs/", "thumbs/")
    assert loaded.routes == (config.Route(path="/", ttl=86400.0),)


@pytest.mark.parametrize("word", ["off", "'off'", "OFF"])
def test_off_needs_no_quotes(tmp_path: Path, word: str) -> None:
    """YAML reads it as false."""
    (tmp_path / "config.yaml").write_text(f"{ORIGIN}\nlog: {{access: {word}}}\n")
    assert config.load().log.access == "off"


# What is refused, and how


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("listen: {port: -1}", "listen.port: -1: Input should be greater than or equal to 0"),
        ("listen: {port: http}", "listen.port: 'http': Input should be a valid integer, unable to parse string as an integer"),  # noqa: E501
        ("listen: {drain_timeout: soon}", "listen.drain_timeout: 'soon': not a time: write it like 90s, 10m, 1h, 7d or 500ms"),  # noqa: E501
        ("listen: {header_timeout: 0}", "listen.header_timeout: 0: Input should be greater than 0"),
        ("fetch: {connect_timeout: .inf}", "fetch.connect_timeout: inf: Input should be a finite number"),  # noqa: E501
        ("cache: {size: 50 gigs}", "cache.size: '50 gigs': not a size: write it like 50GiB, 512MiB, 100000 or 80%"),  # noqa: E501
        ("cache: {size: yes}", "cache.size: True: not a size: write it like 50GiB, 512MiB, 100000 or 80%"),  # noqa: E501
        ("cache: {size: 50}", "cache.slice_size: 1048576: more than cache.size: nothing would ever be stored"),  # noqa: E501
        ("cache: {slice_size: 1KiB}", "cache.slice_size: 1024: Input should be greater than or equal to 65536"),  # noqa: E501
        ("fetch: {max_run: 64KiB}", "fetch.max_run: '64KiB': less than fetch.first_run or fetch.image_run"),  # noqa: E501
        ("cache: {sise: 1GiB}", f"cache.sise: {NO_SETTING}"),
        ("cache: {size: 0%}", "cache.size: '0%': nothing would ever be stored"),
        ("cache: {size: 101%}", "cache.size: '101%': more than all of it: at most 100%"),
        ("cache: {min_free: -1}", "cache.min_free: -1: Input should be greater than or equal to 0"),
        ("cache: {policy: fifo}", "cache.policy: 'fifo': Input should be 'lfuda' or 'lru'"),
        ("cache: {admit: never}", "cache.admit: 'never': Input should be 'always' or 'wear'"),
        ("cache: {max_object: 0}", "cache.max_object: 0: Input should be greater than 0"),
        ("routes: [{pin: [/a]}]", "routes[0].pin: keys do not begin with a slash, so nothing is under '/a'"),  # noqa: E501
        ("routes: [{path: /a/, pin: [b/]}]", "routes[0].pin: 'b/' is not under the route's path: begin it 'a/'"),  # noqa: E501
        ("cahce: {size: 1GiB}", f"cahce: {NO_SETTING}"),
        ("_env_file: other.env", f"_env_file: {NO_SETTING}"),
        ("on: {}", f"True: {NO_SETTING}"),
        ("cache: 50GiB", "cache: expected settings of its own below it"),
        ("log: {level: loud}", "log.level: 'loud': Input should be 'debug', 'info', 'warning' or 'error'"),  # noqa: E501
        ("access: {public: outputs/}", 'access.public: not a list: write it like ["a", "b"]'),
        ("access: {public: [/outputs/]}", "access.public: keys do not begin with a slash, so nothing is under '/outputs/'"),  # noqa: E501
        ("cors: {allow_origins: ['https://a.example/']}", "cors.allow_origins: 'https://a.example/' is not like https://app.example.com (or only '*')"),  # noqa: E501
        ("routes: []", "routes: without any, nothing is served"),
        ("routes: [{path: video}]", "routes[0].path: 'video': String should match pattern '^/'"),
        ("routes: [{path: /a}, {path: /a}]", "routes: /a is there twice"),
        ("routes: [{path: /, origin: b}]", "routes: /: no origin is named 'b'"),
    ],
)  # fmt: skip
def test_a_problem_is_path_value_and_rule(text: str, problem: str) -> None:
    assert problems(ORIGIN + text) == [problem]


@pytest.mark.parametrize(
    "endpoint",
    ["", "s3api-eu-ro-1.runpod.io", "ftp://s3", "https://", "https://s3:port", "https://a b", "https://[::1", "https://s3/?x=1", "https://s3/#x", "https://s3/../x y"],  # noqa: E501
)  # fmt: skip
def test_an_endpoint_is_a_base_url(endpoint: str) -> None:
    text = json.dumps({"origins": {"a": {"endpoint": endpoint, "bucket": "b"}}})
    (problem,) = problems(text)
    assert problem.startswith("origins.a.endpoint: ")


@pytest.mark.parametrize(
    ("origins", "problem"),
    [
        ("{}", "origins: Dictionary should have at least 1 item after validation, not 0"),
        ("{a: {endpoint: 'http://s3'}}", "origins.a.bucket: required"),
        ("{a: {endpoint: 'http://s3', bucket: b, access_key: k}}", "origins.a.secret_key: access_key and secret_key belong together: one of them is empty"),  # noqa: E501
        ("{a: {endpoint: 'http://s3', bucket: b, secret_key: s}}", "origins.a.secret_key: access_key and secret_key belong together: one of them is empty"),  # noqa: E501
        ("{A: {endpoint: 'http://s3', bucket: b}}", "origins.A: 'A': String should match pattern '^[a-z0-9]+([_-][a-z0-9]+)*$'"),  # noqa: E501
        ("{a: {endpoint: 'http://s3', bucket: b/c}}", "origins.a.bucket: 'b/c': String should match pattern '^[A-Za-z0-9][A-Za-z0-9._-]*$'"),  # noqa: E501
        ("{a: {endpoint: 'http://s3', bucket: b}, b: {endpoint: 'http://s3', bucket: b}}", "routes: /: say which origin: a, b"),  # noqa: E501
    ],
)  # fmt: skip
def test_origins_are_whole(origins: str, problem: str) -> None:
    assert problems(f"origins: {origins}") == [problem]


def test_every_problem_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    setenv(monkeypatch, {"EDGECACHE_CAHCE__SIZE": "1", "EDGECACHE_CACHE__SIZE": "big"})
    text = """
        origins: {a: {endpoint: "${ABSENT}", bucket: ""}}
        listen: {port: -1, prot: 80}
        admin: {host: 0.0.0.0}
        routes: [{path: /, ttl: never}]
        nonsense: {}
    """
    assert {problem.split(": ")[0] for problem in problems(text)} == {
        "EDGECACHE_CAHCE__SIZE",
        "origins.a.endpoint",
        "origins.a.bucket",
        "listen.port",
        "listen.prot",
        "admin.token",
        "routes[0].ttl",
        "cache.size",
        "nonsense",
    }


def test_a_wrong_route_is_named_beside_a_wrong_size() -> None:
    text = ORIGIN + "routes: [{path: /, origin: other}]\ncache: {size: big}\n"
    assert [problem.split(": ")[0] for problem in problems(text)] == ["routes", "cache.size"]


def test_without_any_origin_it_says_what_to_set() -> None:
    (problem,) = problems("listen: {port: 1}")
    assert problem.startswith("origins: no origin is configured; write it in config.yaml, or set ")
    assert all(name in problem for name in RUNPOD)


def test_of_the_runpod_variables_the_missing_ones_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNPOD_S3_ENDPOINT", RUNPOD["RUNPOD_S3_ENDPOINT"])
    rule = "not set, and there is no other origin"
    assert problems("cache: {size: big}") == [
        f"RUNPOD_S3_BUCKET_NAME: {rule}",
        f"RUNPOD_S3_ACCESS_KEY: {rule}",
        f"RUNPOD_S3_SECRET_KEY: {rule}",
        "cache.size: 'big': not a size: write it like 50GiB, 512MiB, 100000 or 80%",
    ]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("EDGECACHE_CACHE_SIZE", f"EDGECACHE_CACHE_SIZE: {NO_SETTING}"),
        ("EDGECACHE_PORT", f"EDGECACHE_PORT: {NO_SETTING}"),
        ("EDGECACHE_CACHE__SIZ", f"cache.siz: {NO_SETTING}"),
        (
            "EDGECACHE_CACHE__SIZE__X",
            "cache.size: not a size: write it like 50GiB, 512MiB, 100000 or 80%",
        ),
        ("EDGECACHE_ACCESS__PUBLIC", 'access.public: not a list: write it like ["a", "b"]'),
        ("EDGECACHE_ROUTES", 'routes: not a list: write it like ["a", "b"]'),
        ("EDGECACHE_LOG", "log: expected settings of its own below it"),
    ],
)
def test_a_variable_that_sets_nothing_is_refused(
    name: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "[outputs/")
    assert problems() == [problem]


# The admin port


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_on_loopback_the_admin_port_needs_no_token(host: str) -> None:
    assert config_listen.Admin(host=host).token.get_secret_value() == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "10.0.0.7", "localhost.example", "edge"])
def test_elsewhere_it_does(host: str) -> None:
    (problem,) = problems(ORIGIN + f"admin: {{host: '{host}'}}")
    assert problem == "admin.token: empty, which only a loopback admin.host may have"
    config_listen.Admin(host=host, token=SecretStr("t0ken"))


@pytest.mark.parametrize("token", ["a b", "tökén", "line\\n", "tab\\t"])
def test_a_token_fits_into_a_header(token: str) -> None:
    (problem,) = problems(ORIGIN + f'admin: {{token: "{token}"}}')
    assert problem == "admin.token: only visible ASCII characters fit into a header"


# Secrets


@pytest.mark.parametrize(
    "text",
    [
        "origins: {a: {endpoint: 'http://s3', bucket: '', secret_key: hunter2, access_key: k}}",
        "origins: {a: {endpoint: 'http://s3', bucket: b, secret_key: hunter2}}",
        "origins: {a: {endpoint: 'http://s3', bucket: b, secret_key: [hunter2]}}",
        "origins: {a: {endpoint: 'http://s3', bucket: b, secret: hunter2}}",
        "origins: {a: {endpoint: 'http://u:hunter2@s3', bucket: b}}",
        "origins: {a: {endpoint: 'http://s3/?X-Amz-Signature=hunter2', bucket: b}}",
        "origins: {a: hunter2}",
        "origins: hunter2",
        "password: hunter2",
        ORIGIN + "admin: {token: 'hunter2 '}",
        ORIGIN + "admin: hunter2",
    ],
)
def test_no_problem_shows_a_secret(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(write(text))
    assert "hunter2" not in f"{caught.value!r} {caught.value} {caught.value.hint}"
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EDGECACHE_ADMIN__TOKEN", "hunter2 "),
        ("EDGECACHE_ADMIN_TOKEN", "hunter2"),
        ("EDGECACHE_ORIGINS", '{"a": {"secret_key": "hunter2"'),
        ("EDGECACHE_ORIGINS__MAIN__SECRET_KEY", "hunter2"),
        ("EDGECACHE_ORIGINS__MAIN__SECRET", "hunter2"),
    ],
)
def test_no_problem_shows_a_secret_of_the_environment(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert "hunter2" not in "".join(problems())


def test_no_repr_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    setenv(monkeypatch, RUNPOD | {"EDGECACHE_ADMIN__TOKEN": "hunter2"})
    loaded = config.load()
    assert "hunter2" not in repr(loaded) + str(loaded) + loaded.model_dump_json()


@pytest.mark.parametrize("tag", ["", "a,b", "x" * 257, "ä"])
def test_what_is_no_tag_is_told(tag: str) -> None:
    with pytest.raises(ValidationError, match="is no tag"):
        config.Route(tags=(tag,))
