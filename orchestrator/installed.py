"""Where this installation's parts are: the apps that come with it, and those that settings name."""

from pathlib import Path

from orchestrator.app_loader import load_apps
from orchestrator.contracts.app import AppSpec
from orchestrator.settings import Settings


def bundled_apps() -> Path:
    """Return the folder of the apps that come with Baton: beside this package, in a checkout as in a wheel."""
    return Path(__file__).resolve().parent.parent / "apps"


def app_paths(settings: Settings) -> list[Path]:
    """Return the folders in which the settings look for apps, in order."""
    paths = [Path(path).expanduser() for path in settings.apps.path]
    return [*paths, bundled_apps()] if settings.apps.bundled else paths


def load_installed_apps(settings: Settings, *, import_code: bool = True) -> dict[str, AppSpec]:
    """Load every app; raise AppInvalid with all problems. Without `import_code`, tools are not imported."""
    return load_apps(app_paths(settings), import_code=import_code, plugins=settings.apps.plugins)
