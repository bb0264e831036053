"""The colours of all figures: Okabe & Ito (2008), told apart by colour-blind readers, in print
and on screen."""

BLUE, ORANGE, GREEN, GREY, SKY, PINK, YELLOW = (
    "#0072B2", "#D55E00", "#009E73", "#999999", "#56B4E9", "#CC79A7", "#E69F00",
)  # fmt: skip
