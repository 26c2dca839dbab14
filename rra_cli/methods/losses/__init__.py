"""Loss functions, one published formula a file: tensors in, a scalar out; no configuration, no state.

All of them compute in float32 at least, whatever autocast says: bfloat16 inputs are widened first. The gradient
follows. `joint.py` makes each of them the loss of the joint batch of all ranks.
"""
