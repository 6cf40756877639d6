"""A decision as data, and its carrying out, for any kind: steps, conditions, what is known from answers, refusals."""
