"""Tables of items and categories that begin as a truncated singular value decomposition of the training events."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from threadpoolctl import threadpool_limits

from din_train.dataset.histories import find_events_of
from din_train.dataset.store import PreparedData, Samples
from din_train.model.embedding import TABLE_STDDEV, ItemEmbedding

Ints = NDArray[np.int64]


def initialize_spectral(embedding: ItemEmbedding, data: PreparedData, samples: Samples) -> None:
    """Assign both tables, before training; see `compute_spectral_rows`.

    Args:
        samples: the rows that training has, whose events alone are looked at: positives, and behaviours in histories.
    """
    users, items = find_events_of(data, samples)
    rows = np.arange(len(data.item_category_ids)) if embedding.item_row_ids is None else embedding.item_row_ids.numpy()
    for table, ids in ((embedding.items, rows[items]), (embedding.categories, data.item_category_ids[items])):
        table.assign(compute_spectral_rows(users, ids.astype(np.int64), table.numpy()))


def compute_spectral_rows(users: Ints, ids: Ints, table: NDArray[np.float32]) -> NDArray[np.float32]:
    """[rows, width] the table with the rows of the ids that occur replaced.

    With A[u, i] = 1 if user u has id i, and D the diagonal matrices of row and column sums of A, the decomposition is
    D_u^-1/2 A D_i^-1/2 = U S V^T (Dhillon, 2001, "Co-clustering documents and words using bipartite spectral graph
    partitioning"). Row i begins as V_i S^1/2, scaled so that the root mean square of the new numbers is that of a
    random table. If the width is larger than the number of users or ids, the last columns stay as they are.

    Under one thread the bits do not depend on the machine's number of threads.

    Args:
        users, ids: [events] who has what; a pair may occur several times.
        table: [rows, width] as it is.
    """
    shape = int(users.max(initial=0)) + 1, len(table)
    matrix = sparse.csr_matrix((np.ones(len(users)), (users, ids)), shape=shape)
    matrix.data[:] = 1.0  # pairs that occur several times have been summed
    of_users, of_ids = (np.maximum(np.asarray(matrix.sum(axis)).ravel(), 1.0) for axis in (1, 0))
    matrix = sparse.diags(of_users**-0.5) @ matrix @ sparse.diags(of_ids**-0.5)
    occurs = np.bincount(ids, minlength=len(table)) > 0
    width = min(table.shape[1], int(occurs.sum()), len(np.unique(users)))
    if not width:
        return table
    svd = TruncatedSVD(width, algorithm="randomized", random_state=0)
    with threadpool_limits(1):
        svd.fit(matrix)
    vectors = svd.components_.T * np.sqrt(svd.singular_values_)  # [rows, width]
    begun = table.copy()
    begun[occurs, :width] = vectors[occurs] * (TABLE_STDDEV / np.sqrt(np.mean(vectors[occurs] ** 2)))
    return begun
