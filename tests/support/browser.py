"""What tests of pages in Chromium share."""

# without these Chromium asks its maker's servers for updates
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
         "--disable-component-update", "--no-first-run", "--disable-quic"]  # fmt: skip

# The size of each text in pixels, of a figure's as it is scaled.
SIZES = """() => [...document.querySelectorAll("body *")]
    .filter(one => !["SCRIPT", "STYLE", "title"].includes(one.tagName) && one.checkVisibility())
    .filter(one => [...one.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
    .map(one => {
        const size = parseFloat(getComputedStyle(one).fontSize);
        const scale = one.getScreenCTM ? one.getScreenCTM() : {a: 1, b: 0};
        return size * Math.hypot(scale.a, scale.b);
    })"""
