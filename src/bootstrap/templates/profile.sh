# Ray's programs, for whoever signs in.
export PATH="/opt/ray/bin:$PATH"
