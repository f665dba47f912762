"""Words of a command, where later ones replace earlier ones of the same key."""


def replace(words, *more):
    """Return the words with more of them; a group or key that is set again is set once, to its last value."""
    last = {}
    for word in [*words, *more]:
        last.pop(word.partition("=")[0], None)
        last[word.partition("=")[0]] = word
    return list(last.values())
