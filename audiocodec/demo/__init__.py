"""The local page on which anyone can hear what the codecs do: `audiocodec demo`."""
