"""``faith setup``: a configuration by questions, as naptd-confmaker made one."""
