"""The scripts as modules: they are no package."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

REPOSITORY = Path(__file__).parents[1]
SCRIPTS = REPOSITORY / "scripts"


def load_script(name: str) -> ModuleType:
    """The script of that name in a folder of scripts/, imported once; its neighbours can be imported too."""
    if name in sys.modules:
        return sys.modules[name]
    (path,) = SCRIPTS.glob(f"*/{name}.py")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
