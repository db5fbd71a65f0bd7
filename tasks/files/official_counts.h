#pragma once

// How many examples the data sets officially have, so that half a download is noticed.

#include <cstdint>
#include <optional>
#include <string_view>

namespace koine {

/// Examples of a task's split in a language as its reader counts them (rows it leaves out not among them): questions, rows,
/// sentences, pairs. Nothing where no published number is at hand.
///
/// Sources: Phang et al. (arXiv 2005.13013) and the data sets' own papers and pages for intermediate tasks, XTREME (Hu et al.,
/// arXiv 2003.11080, table 1) and MLQA (Lewis et al., arXiv 1910.07475, table 2) for targets, LASER's v1 files for Tatoeba,
/// XQuAD-R's page (1,190 questions in each of eleven languages) for LAReQA; of PAN-X in each language, MLQA in each pair of
/// languages, Social IQa and COPA (SuperGLUE's files) what Hugging Face's `datasets` counted in the official files
/// (dataset_infos.json of xtreme, wikiann, social_i_qa and super_glue, huggingface/datasets before 8803c182).
std::optional<std::int64_t> official_count(std::string_view task, std::string_view split, std::string_view language);

}  // namespace koine
