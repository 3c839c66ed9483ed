"""What runs pieces of code in a sandbox that share their state: a program for each language, started by skerry-init.

They are files that an interpreter of the image is given, on whatever Python or Node it has; nothing imports them, and they import nothing
of ours. They speak with init over descriptors 3 and 4, so that the code's own input and output are free.
"""
