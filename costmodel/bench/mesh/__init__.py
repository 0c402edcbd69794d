"""Compilers as judges of sharded programs: what XLA's partitioner sends and holds for the devices of a mesh, beside ours.

The files from the ground up: programs by name (``programs``, ``developed``, ``held_out``, ``unseen``), what is handed to a process
that compiles for several devices (``compile``) and what runs there (``worker``), the comparison (``judge``), and stored ones
(``judged``).
"""
