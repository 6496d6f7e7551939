from __future__ import annotations

import pytest

from faith.kernel.steering.binding_table import BindingTable
from tests.netns import binding

pytestmark = pytest.mark.netns


class TestBindingTable(binding.Contract):
    way = BindingTable
    right = "CAP_NET_ADMIN"
