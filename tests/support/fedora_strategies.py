"""What hypothesis tries on the decoder of Fedora's messages: bodies, encodings, headers."""

import json

from hypothesis import strategies as st

COPR = {
    "build": 1, "chroot": "fedora-42-x86_64", "copr": "demo", "ip": "192.0.2.1", "owner": "packit",
    "pid": 1, "pkg": "hello", "status": 1, "user": "packit", "version": "1-1", "what": "x",
    "who": "backend",
}  # fmt: skip

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
copr_like = st.fixed_dictionaries(
    {key: st.just(value) | scalars for key, value in COPR.items()}
) | st.sets(st.sampled_from(sorted(COPR))).map(lambda keys: {k: COPR[k] for k in keys})
bodies = st.one_of(
    json_values.map(lambda value: json.dumps(value).encode()),
    copr_like.map(lambda value: json.dumps(value).encode()),
    json_values.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-16")),
    st.binary(max_size=30),
    st.text(max_size=30).map(str.encode),
    st.sampled_from([b"", b"NaN", b"[]", b"null", b"0", b'""', b"false", b"\xef\xbb\xbf{}",
                     b'{"a":"\\ud800"}', b'{"a":1,"a":2}', b"1" * 5000, b"[" * 100_000,
                     b'{"a":' * 100_000]),
)  # fmt: skip
encodings = st.one_of(
    st.sampled_from(["utf-8", "UTF8", None, "latin-1", "utf-16", "ascii", "idna", "punycode",
                     "base64", "rot13", "zlib", "undefined", "unknown", "", "utf-8\0", b"\xff"]),
    st.text(max_size=8),
)  # fmt: skip
amqp_values = json_values | st.binary(max_size=4) | st.decimals() | st.datetimes()
headers = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "fedora_messaging_schema": st.sampled_from(
            ["base.message", "copr.build.start", "copr.chroot.start", "copr.unused.chroot.start",
             "none.such", "tests.broken", "tests.dynamic", "tests.own", "tests.init"]
        ) | amqp_values,
        "fedora_messaging_severity": st.sampled_from([0, 10, 20.0, 40, 50, True]) | amqp_values,
        "fedora_messaging_schema_package": st.just("a-package") | amqp_values,
        "sent-at": st.just("2026-01-05T08:00:00+00:00") | amqp_values,
        "priority": amqp_values,
    },
)  # fmt: skip
