"""The stages of an experiment: what each reads, makes and costs. `pipeline.py` walks them.

`lay_out` turns a configuration into stages, in a `layout`. `graphs` searches neighbours; `samples` and `pullback` are
studies with stages of their own.
"""
