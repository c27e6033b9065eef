"""Networks of small integers, which every processor computes alike: see `integers` and `layers`."""
