"""Names as a file system knows them that does not tell all of them apart. Pure."""

from collections.abc import Callable


def fold_by(*, case: bool, form: bool) -> Callable[[bytes], bytes] | None:
    """Return what gives the name by which such a file system knows a path; None for one that takes names as they are.

    `case`: upper and lower case are one. `form`: so are the spellings of a letter in Unicode.
    """
    if not case and not form:
        return None

    def fold(raw: bytes) -> bytes:
        from unicodedata import normalize

        text = raw.decode("utf-8", "surrogateescape")
        if form:
            text = normalize("NFD", text)
        if case:
            text = text.casefold()
        return text.encode("utf-8", "surrogateescape")

    return fold
