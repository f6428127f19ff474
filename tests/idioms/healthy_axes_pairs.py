"""The programs of `_axes_pairs` repaired, and programs that look like them."""

import _axes_pairs as pairs


def build_steps_laid_in_a_row():
    return pairs.steps_laid_in_a_row(fixed=True)


def build_two_views_of_each_image():
    return pairs.two_views_of_each_image(fixed=True)


def build_rows_of_words_by_time():
    return pairs.rows_of_words_by_time(fixed=True)


def build_rows_of_pixels_by_place():
    return pairs.rows_of_pixels_by_place(fixed=True)


def build_positions_looked_up_by_sample():
    return pairs.positions_looked_up_by_sample(fixed=True)


def build_sines_as_many_as_samples():
    return pairs.sines_as_many_as_samples(fixed=True)


def build_time_major_embedding_indexed_by_sample():
    return pairs.time_major_embedding_indexed_by_sample(fixed=True)


def build_index_as_a_feature():
    return pairs.index_as_a_feature(fixed=True)


def build_halves_turned_over_heads():
    return pairs.halves_turned_over_heads(fixed=True)


def build_complex_angles_of_samples():
    return pairs.complex_angles_of_samples(fixed=True)


def build_time_of_day_of_samples():
    return pairs.time_of_day_of_samples(fixed=True)


def build_lengths_for_rows():
    return pairs.lengths_for_rows(fixed=True)


def build_last_of_unbound():
    return pairs.last_of_unbound(fixed=True)


def build_last_row_of_a_bidirectional_reader():
    return pairs.last_row_of_a_bidirectional_reader(fixed=True)


def build_last_column_of_a_time_major_stack():
    return pairs.last_column_of_a_time_major_stack(fixed=True)


def build_last_frame_after_convolutions():
    return pairs.last_frame_after_convolutions(fixed=True)


def build_summary_token_of_the_last_sample():
    return pairs.summary_token_of_the_last_sample(fixed=True)


def build_language_model_of_torch_defaults():
    return pairs.language_model_of_torch_defaults(fixed=True)


def build_translator_of_torch_defaults():
    return pairs.translator_of_torch_defaults(fixed=True)


def build_autoencoder_of_smooth_series():
    return pairs.autoencoder_of_smooth_series(fixed=True)


def build_neighbours_weighed_by_columns():
    return pairs.neighbours_weighed_by_columns(fixed=True)


def build_scaled_by_the_batch():
    return pairs.scaled_by_the_batch(fixed=True)


def build_largest_word_of_the_batch():
    return pairs.largest_word_of_the_batch(fixed=True)


def build_convolutions_without_activations():
    return pairs.convolutions_without_activations(fixed=True)


def build_graph_convolutions_without_activations():
    return pairs.graph_convolutions_without_activations(fixed=True)


def build_road_sensors_without_activations():
    return pairs.road_sensors_without_activations(fixed=True)


def build_mask_that_is_not_passed_on():
    return pairs.mask_that_is_not_passed_on(fixed=True)
