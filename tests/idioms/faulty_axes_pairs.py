"""The programs of `_axes_pairs` as their authors wrote them, with the axis at fault."""

import _axes_pairs as pairs


def build_steps_laid_in_a_row():  # expect: ARC029 error
    return pairs.steps_laid_in_a_row(fixed=False)


def build_two_views_of_each_image():  # expect: ARC029 error
    return pairs.two_views_of_each_image(fixed=False)


def build_rows_of_words_by_time():  # expect: ARC029 error
    return pairs.rows_of_words_by_time(fixed=False)


def build_rows_of_pixels_by_place():  # expect: ARC029 error
    return pairs.rows_of_pixels_by_place(fixed=False)


def build_positions_looked_up_by_sample():  # expect: ARC030
    return pairs.positions_looked_up_by_sample(fixed=False)


def build_sines_as_many_as_samples():  # expect: ARC030
    return pairs.sines_as_many_as_samples(fixed=False)


def build_time_major_embedding_indexed_by_sample():  # expect: ARC030
    return pairs.time_major_embedding_indexed_by_sample(fixed=False)


def build_index_as_a_feature():  # expect: ARC030
    return pairs.index_as_a_feature(fixed=False)


def build_halves_turned_over_heads():  # expect: ARC030
    return pairs.halves_turned_over_heads(fixed=False)


def build_complex_angles_of_samples():  # expect: ARC030
    return pairs.complex_angles_of_samples(fixed=False)


def build_time_of_day_of_samples():  # expect: ARC030
    return pairs.time_of_day_of_samples(fixed=False)


def build_lengths_for_rows():  # expect: ARC031
    return pairs.lengths_for_rows(fixed=False)


def build_last_of_unbound():  # expect: ARC031
    return pairs.last_of_unbound(fixed=False)


def build_last_row_of_a_bidirectional_reader():  # expect: ARC031
    return pairs.last_row_of_a_bidirectional_reader(fixed=False)


def build_last_column_of_a_time_major_stack():  # expect: ARC031
    return pairs.last_column_of_a_time_major_stack(fixed=False)


def build_last_frame_after_convolutions():  # expect: ARC031
    return pairs.last_frame_after_convolutions(fixed=False)


def build_summary_token_of_the_last_sample():  # expect: ARC031
    return pairs.summary_token_of_the_last_sample(fixed=False)


def build_language_model_of_torch_defaults():  # expect: ARC009
    return pairs.language_model_of_torch_defaults(fixed=False)


def build_translator_of_torch_defaults():  # expect: ARC009
    return pairs.translator_of_torch_defaults(fixed=False)


def build_autoencoder_of_smooth_series():  # expect: ARC009
    return pairs.autoencoder_of_smooth_series(fixed=False)


def build_neighbours_weighed_by_columns():  # expect: ARC027
    return pairs.neighbours_weighed_by_columns(fixed=False)


def build_scaled_by_the_batch():  # expect: ARC008
    return pairs.scaled_by_the_batch(fixed=False)


def build_largest_word_of_the_batch():  # expect: ARC008
    return pairs.largest_word_of_the_batch(fixed=False)


def build_convolutions_without_activations():  # expect: ARC005
    return pairs.convolutions_without_activations(fixed=False)


def build_graph_convolutions_without_activations():  # expect: ARC005
    return pairs.graph_convolutions_without_activations(fixed=False)


def build_road_sensors_without_activations():  # expect: ARC005
    return pairs.road_sensors_without_activations(fixed=False)


def build_mask_that_is_not_passed_on():  # expect: ARC032 error
    return pairs.mask_that_is_not_passed_on(fixed=False)


def build_last_slice_squeezed():  # expect: ARC031
    return pairs.last_slice_squeezed(fixed=False)
