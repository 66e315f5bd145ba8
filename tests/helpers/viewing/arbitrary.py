"""Arrays of every kind that an image can come as, drawn by hypothesis."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

dtypes = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
)


@st.composite
def arrays(draw, n_axes=3, dtypes=dtypes):
    """Arrays of any real dtype, byte order and strides, NaN and infinities included."""
    shape = draw(hnp.array_shapes(min_dims=n_axes, max_dims=n_axes, max_side=6))
    data = draw(hnp.arrays(draw(dtypes), shape))
    if draw(st.booleans()):
        data = np.asfortranarray(data)
    steps = draw(st.lists(st.sampled_from((1, -1, 2)), min_size=n_axes, max_size=n_axes))
    return data[tuple(slice(None, None, step) for step in steps)]
