"""The stages of an experiment: what each reads, makes and costs. `pipeline.py` walks them."""
