"""The relay beside its peers, measured on one machine: see docs/benchmarks.rst.

``command`` reads the command line, ``comparison`` runs rounds, ``report`` prints.  A *contender*
carries connections from the client to the origin, a *measure* puts numbers to one of them, on a
*bed*: a network of namespaces with what the origin serves.  ``ends`` holds programs that run as
scripts on the client and on the origin.
"""
