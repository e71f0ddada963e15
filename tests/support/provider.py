"""One process of the AWS provider for many calls of Terraform.

Terraform starts the provider for every walk of every command, and for each run of its own tests, and each start takes
two seconds of the processor. Here it runs as its developers debug it, and Terraform is told where.

For plans, tests and validation only: what is deployed is deployed by a provider that Terraform starts, as elsewhere.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local_aws.deploy.terraform import Terraform

_REATTACH = re.compile(r"TF_REATTACH_PROVIDERS='(.+)'$")
# The provider ends with who reads from it, however that ends.
_UNTIL_NOBODY_LISTENS = 'exec 3<&0; "$0" -debug 2> /dev/null < /dev/null & read -r _ <&3; kill $!; wait'


@contextmanager
def resident(terraform: Terraform) -> Iterator[None]:
    """Let one process of the provider answer all calls of an initialised Terraform, for as long as the context is open.

    The provider has the environment that Terraform has now: endpoint and credentials are those of the beginning.
    """
    provider = next(
        Path(folder, name)
        for folder, _, names in os.walk(terraform.directory / ".terraform" / "providers", followlinks=True)
        for name in names
        if name.startswith("terraform-provider-aws")
    )
    environment = terraform.environment
    # Its socket is there, whose path may be no longer than some hundred characters.
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            ["sh", "-c", _UNTIL_NOBODY_LISTENS, str(provider)],
            env={**terraform.process_environment, "TMPDIR": folder},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            told = next(found[1] for line in process.stdout if (found := _REATTACH.search(line.strip())))
            terraform.environment = {**environment, "TF_REATTACH_PROVIDERS": told}
            yield
        finally:
            terraform.environment = environment
            process.stdin.close()
