"""Systems of known quality on the same utterances: what resampling alone costs, classical codecs, EnCodec.

Every anchor takes one channel at the reference's rate and gives back as many samples at that rate, without lag. Its size
is counted twice: all bytes of the file that its own program writes, and the payload alone, without containers.
"""
