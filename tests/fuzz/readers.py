"""Every reader of what others may have written, as a function of bytes that must end as its documentation says.

A target returns, or raises what is a fault here: anything but the exceptions that its reader documents. `seeds.SEEDS`
holds, by target, what is right.
"""

from __future__ import annotations

from collections.abc import Callable

from array_readers import (
    a_captures_progress,
    a_checkpoint,
    a_folder_of_activations,
    a_graph,
    a_picture,
    an_array,
    an_idx_file,
    decoded_pictures,
    hashes_of_pictures,
    labels,
    the_state_of_a_search,
)
from run_readers import (
    a_manifest,
    a_provenance,
    a_runs_configuration,
    a_status,
    a_strangers_run,
    a_sweep,
    a_table,
    a_training_curve,
    how_a_job_ended,
    hydras_record,
    search_times,
    what_was_drawn,
)
from store_readers import (
    a_lease,
    a_note,
    a_remembered_hash,
    a_result,
    a_store_with_a_strange_artifact,
    an_announcement,
    an_array_of_an_artifact,
    an_artifact,
    what_a_graph_says,
)
from text_readers import a_users_option, a_users_yaml, an_age, an_override, json_text, yaml_text

TARGETS: dict[str, Callable[[bytes], None]] = {
    function.__name__: function
    for function in (
        an_array,
        a_folder_of_activations,
        labels,
        json_text,
        yaml_text,
        a_users_yaml,
        an_override,
        an_artifact,
        an_array_of_an_artifact,
        a_result,
        what_a_graph_says,
        a_store_with_a_strange_artifact,
        a_note,
        an_announcement,
        a_lease,
        a_sweep,
        how_a_job_ended,
        a_status,
        a_provenance,
        a_manifest,
        hydras_record,
        a_runs_configuration,
        a_strangers_run,
        a_users_option,
        a_table,
        a_training_curve,
        search_times,
        what_was_drawn,
        a_picture,
        a_checkpoint,
        a_graph,
        the_state_of_a_search,
        a_captures_progress,
        a_remembered_hash,
        hashes_of_pictures,
        decoded_pictures,
        an_idx_file,
        an_age,
    )
}
