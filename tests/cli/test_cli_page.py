"""The page of the command line says what the verbs declare."""

from cli_page import PAGE, page


def test_the_page_is_what_the_verbs_declare():
    assert PAGE.read_text(encoding="utf-8") == page(), "python tests/cli/cli_page.py writes it"
