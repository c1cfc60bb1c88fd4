"""Websites of results: a front page and pages of benchmarks, rows and pairs, to publish or to open from disk."""

from clbench.site.site_build import write_site

__all__ = ["write_site"]
