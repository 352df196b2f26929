"""In the place of a package that jsonschema takes where it is there: it builds grammars for three seconds when it is
imported, in each Jupyter server that starts, and nothing here has an IRI to check. On `PYTHONPATH`, by `conftest.py`.
"""

raise ImportError("not wanted in tests")
