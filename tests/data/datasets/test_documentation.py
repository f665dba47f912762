"""The documentation of the Python that runs the tests; what is made of it is tested on small libraries."""

import __future__

from itertools import takewhile
from pydoc_data.topics import topics

from nnkit.data.datasets.documentation import documents, library_folder


def test_help_topics_and_docstrings_of_this_python_are_found():
    found = list(takewhile(lambda one: one.module <= "__future__", documents(library_folder())))
    assert {one.name: one.text for one in found if not one.module} == {
        name: text.strip() for name, text in topics.items()
    }
    texts = {one.name: one.text for one in found if one.module}
    assert texts["__future__"] == __future__.__doc__.strip()
