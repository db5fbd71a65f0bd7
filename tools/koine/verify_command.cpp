// koine verify

#include <algorithm>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "models/models.h"
#include "tasks/experiment/experiment.h"
#include "tasks/experiment/published.h"
#include "tools/koine/commands.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

struct VerifyArguments {
  std::string model;
  std::string tokenizer;
  std::string data;
  std::string output;
  std::string figures;
};

/// A row a figure; then how many agree.
std::string verdict(const PublishedTable& table, const std::vector<VerifiedFigure>& figures) {
  std::vector<std::vector<std::string>> rows = {{"task", "language", "metric", "published", "measured", "difference", ""}};
  std::int64_t measured = 0;
  std::int64_t agree = 0;
  for (const VerifiedFigure& figure : figures) {
    std::vector<std::string> row = {figure.task, figure.language, figure.metric, format_number(figure.published, 1)};
    if (figure.measured.has_value()) {
      const bool agrees = figure.agrees(table.tolerance);
      ++measured;
      agree += agrees ? 1 : 0;
      row.insert(row.end(), {format_number(*figure.measured, 2), format_number(*figure.measured - figure.published, 2),
                             agrees ? "agrees" : "differs"});
    } else {
      row.insert(row.end(), {"-", "-", "no data"});
    }
    rows.push_back(row);
  }
  return concatenate(format_table(rows), agree, " of ", measured, " figures agree with ", table.source, " to ",
                     format_number(table.tolerance, 2), " points; of ", std::ssize(figures) - measured,
                     " others there are no data\n");
}

int verify(const VerifyArguments& arguments, const CommonOptions& common) {
  const PublishedTable table =
      arguments.figures.empty() ? published_xlmr_large() : parse_published(read_file(arguments.figures), arguments.figures);
  const ModelConfig config = read_model_config(arguments.model);
  require_published_model(table, config, (fs::path(arguments.model) / "config.json").string());
  const Tokenizer tokenizer = matching_tokenizer(arguments.model, config, arguments.tokenizer);
  require(!fs::exists(arguments.output) || fs::is_empty(arguments.output), arguments.output,
          " is not empty; choose another --output");
  const RunOptions options = run_options(common, resolve_execution(common));
  ModelOptions model_options;
  model_options.execution = options.execution;
  const std::unique_ptr<Model> model = load_told(arguments.model, model_options);
  install_signal_handlers();
  const std::vector<VerifiedFigure> figures =
      verify_figures(*model, table, arguments.data, tokenizer, arguments.output, options);
  if (figures.empty()) return kExitInterrupted;
  print(verdict(table, figures));
  const bool all = std::all_of(figures.begin(), figures.end(), [&](const VerifiedFigure& figure) {
    return !figure.measured.has_value() || figure.agrees(table.tolerance);
  });
  return all ? 0 : 1;
}

}  // namespace

void add_verify_command(CommandLine& line) {
  auto arguments = std::make_shared<VerifyArguments>();
  CLI::App* app = line.add("verify", "Whether a checkpoint reproduces its published retrieval figures", [&line, arguments] {
    apply(line.common);
    return verify(*arguments, line.common);
  });
  app->add_option("--model", arguments->model, "transformers directory of the checkpoint (XLM-R Large)")->required();
  app->add_option("--tokenizer", arguments->tokenizer, "SentencePiece model, where it is not in the model directory");
  app->add_option("--data", arguments->data, "folder of the data sets: BUCC 2018's sample sets, Tatoeba")->required();
  app->add_option("--output", arguments->output, "folder for predictions and figures")->required();
  app->add_option("--figures", arguments->figures, "TOML table of other figures (docs/retrieval.md)");
}

}  // namespace koine
