from __future__ import annotations

import pytest

from faith.kernel.steering.binding_table import PairTable
from tests.netns import binding

pytestmark = pytest.mark.netns


class TestPairTable(binding.Contract):
    way = PairTable
    right = "CAP_NET_ADMIN"
