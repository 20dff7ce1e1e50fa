"""How hypothesis makes bytes of a corpus: a seed with a few edits, or two seeds spliced; sometimes bytes of its own."""

from collections.abc import Sequence

from hypothesis import strategies as st

#: What readers stumble over: ends of numbers, odd characters, syntax of JSON, YAML and logs.
TOKENS = (
    b"0", b"-1", b"1e999", b"9" * 400, b"9" * 5000, b"NaN", b"Infinity", b"null", b"true", b'""', b"[]", b"{}", b"{", b"]",
    b'"', b"'", b":", b",", b"\n", b"\r", b"\t", b" ", b"\x00", b"\xff", b"\xed\xa0\x80", b"\xe2\x80\xae", b"\xef\xbb\xbf",
    b"\\ud800", b"\\u0000", b"&a ", b"*a", b"<<: ", b"!!str ", b"- ", b"? ", b"${", b"${SET}", b"$$", b"=", b"__class__",
    b"[" * 70, b"{\"a\":" * 70, b"*", b"/", b"-", b"|", b"%", b"\n\n", b"2026-02-30", b"0x1F", b"~", b"\xc2\xb2",
)  # fmt: skip


@st.composite
def edited(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """Return a seed after up to six edits."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        match draw(st.sampled_from(("insert", "replace", "cut", "repeat", "splice", "byte"))):
            case "insert":
                data = data[:start] + draw(st.sampled_from(TOKENS)) + data[start:]
            case "replace":
                data = data[:start] + draw(st.sampled_from(TOKENS)) + data[end:]
            case "cut":
                data = data[:start] + data[end:]
            case "repeat":
                data = data[:end] + data[start:end] * draw(st.integers(1, 30)) + data[end:]
            case "splice":
                other = draw(st.sampled_from(seeds))
                data = data[:start] + other[draw(st.integers(0, len(other))) :]
            case _:
                data = data[:start] + draw(st.binary(min_size=1, max_size=3)) + data[end:]
    return data


def mutated(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return bytes that are mostly nearly right, which is where readers break."""
    return st.one_of(edited(seeds), edited(seeds), edited(seeds), st.binary(max_size=60))
