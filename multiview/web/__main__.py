"""`python -m multiview.web` builds the explorer's page again after a change of its sources."""

from multiview.web.page import PAGE, build

if __name__ == "__main__":
    PAGE.write_text(build(), encoding="utf-8")
