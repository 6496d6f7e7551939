from __future__ import annotations

import pytest

from faith.kernel.steering.binding_program import BindingProgram
from tests.netns import binding

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]


class TestBindingProgram(binding.Contract):
    way = BindingProgram
    right = "CAP_BPF"
