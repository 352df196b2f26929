"""The two transports to a kernel, behind one seam: `base.Transport`. Each owns one thread and its sockets."""
