"""Training of priors: small exact networks that predict tokens, so that token files can be stored near their entropy."""
