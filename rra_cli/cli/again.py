"""`rra run --from`: a run or a sweep again, from its folder alone."""
