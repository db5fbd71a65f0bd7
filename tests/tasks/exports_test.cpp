// Rows as CSV and tables as LaTeX.

#include "tasks/report/exports.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/tasks/result_row.h"

namespace koine {
namespace {

/// Two seeds of XNLI and XQuAD, one of the baseline's Tatoeba; Romanian is not XQuAD's.
std::vector<ResultRow> results() {
  std::vector<ResultRow> rows;
  for (const std::uint32_t seed : {1u, 2u}) {
    const double more = seed;  // 1, 2: a deviation of sqrt(1/2) = 0.7
    rows.push_back(result_row("none", "xnli", "en", "accuracy", seed, 80));
    rows.push_back(result_row("none", "xnli", "de", "accuracy", seed, 70 + 2 * more));
    rows.push_back(result_row("mn_li", "xnli", "en", "accuracy", seed, 82 + 2 * more));
    rows.push_back(result_row("mn_li", "xnli", "de", "accuracy", seed, 70 + 2 * more));
    for (const auto& [metric, value] : {std::pair("f1", 60.0), std::pair("exact_match", 40.0), std::pair("average", 50.0)}) {
      rows.push_back(result_row("none", "xquad", "en", metric, seed, value));
      rows.push_back(result_row("none", "xquad", "ro", metric, seed, 0));
      rows.push_back(result_row("mn_li", "xquad", "en", metric, seed, value - 3));
    }
    rows.push_back(result_row("mn_li", "tatoeba", "de", "accuracy", seed, 20));
  }
  rows.push_back(result_row("none", "tatoeba", "de", "accuracy", 1, 10));
  return rows;
}

TEST(ResultsMarkdown, HasATableForEachTarget) {
  const std::string text = results_markdown(results());
  EXPECT_NE(text.find("| xnli, accuracy | en | de | zero-shot mean | languages | − baseline |\n"
                      "|---|--:|--:|--:|--:|--:|\n"
                      "| none | 80.0 ±0.0 | 73.0 ±1.4 | 73.0 ±1.4 | 1 |  |\n"
                      "| mn\\_li | 85.0 ±1.4 | 73.0 ±1.4 | 73.0 ±1.4 | 1 | 0.0 ±0.0 |\n"),
            std::string::npos)
      << text;
  // One figure of the baseline, two seeds of the arm.
  EXPECT_NE(text.find("| mn\\_li | 20.0 ±0.0 | 20.0 ±0.0 | 1 | +10.0 ±0.0 |\n"), std::string::npos) << text;
  EXPECT_NE(text.find("ro† |"), std::string::npos) << text;
  EXPECT_EQ(results_markdown({result_row("a|b\n*", "xnli", "de", "accuracy", 1, 1)}).find("a|b"), std::string::npos);
}

TEST(ResultsCsv, IsWrittenAsRfc4180Says) {
  std::vector<ResultRow> rows = {result_row("a, \"b\"\r\nc", "xnli", "fi", "accuracy", 4294967295u, -0.1)};
  rows[0].flops = 3.5e13;
  rows[0].left_out = 2;
  rows.push_back(result_row("none", "xnli", "fi", "accuracy", 1, 1.0 / 3));
  rows[1].joules = 12.5;
  rows[1].layer = 7;
  EXPECT_EQ(results_csv(rows),
            "model,intermediate,target,language,metric,value,seed,examples,tokens,flops,seconds,joules,layer,left_out\r\n"
            "m,\"a, \"\"b\"\"\r\nc\",xnli,fi,accuracy,-0.1,4294967295,10,100,3.5e+13,0.5,,,2\r\n"
            "m,none,xnli,fi,accuracy,0.3333333333333333,1,10,100,,0.5,12.5,7,0\r\n");
}

// By hand. XNLI: none (80+72)/2 = 76 and (80+74)/2 = 77, mean 76.5, deviation 0.7; mn_li (84+72)/2 = 78 and (86+74)/2 = 80:
// +2 and +3. XQuAD without Romanian. Tatoeba: seed 1 alone has both. Averages, question answering with (F1 + EM) / 2: none
// (76+50+10)/3 = 45.33 and (77+50+10)/3 = 45.67, deviation 0.2; mn_li (78+47+20)/3 = 48.33 and 49: +3 and +3.33.
TEST(ResultsLatex, ComparesArmsWithTheBaseline) {
  const std::string text = results_latex(results());
  const std::string overview = R"(% \usepackage{booktabs}
\begin{table*}[t]
  \centering
  \begin{tabular}{lrrrr}
    \toprule
    Intermediate training & XNLI & XQuAD & Tatoeba & Avg. \\
    \midrule
    Metric & acc. & F1 / EM & acc. &  \\
    Languages & 2 & 1 & 1 &  \\
    \midrule
    none & $76.5_{\pm 0.7}$ & $60.0_{\pm 0.0}$ / $40.0_{\pm 0.0}$ & 10.0 & $45.5_{\pm 0.2}$ \\
    \midrule
    mn\_li & $+2.5_{\pm 0.7}$ & $-3.0_{\pm 0.0}$ / $-3.0_{\pm 0.0}$ & $+10.0_{\pm 0.0}$ & $+3.2_{\pm 0.2}$ \\
    \bottomrule
  \end{tabular}
)";
  EXPECT_EQ(text.substr(0, overview.size()), overview) << text;
  EXPECT_NE(text.find("    ro$^\\dagger$ & $0.0_{\\pm 0.0}$ & -- \\\\\n"), std::string::npos) << text;
  EXPECT_NE(text.find("    Mean & $60.0_{\\pm 0.0}$ & $57.0_{\\pm 0.0}$ \\\\\n"), std::string::npos) << text;
}

/// Of each tabular: as many cells in a line as it has columns; every environment and brace is closed.
void expect_balanced(const std::string& text) {
  std::vector<std::string> open;
  std::size_t columns = 0;
  int lines = 0;
  int braces = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    ASSERT_NE(end, std::string::npos);
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    std::ptrdiff_t separators = 0;
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (line[i] == '\\') {
        ++i;  // an escaped character
      } else {
        braces += line[i] == '{' ? 1 : line[i] == '}' ? -1 : 0;
        separators += line[i] == '&' ? 1 : 0;
      }
      ASSERT_GE(braces, 0) << line;
    }
    ASSERT_EQ(braces, 0) << line;
    const std::size_t name = line.find('{');
    if (line.find("\\begin{") != std::string::npos) open.push_back(line.substr(name, line.find('}') + 1 - name));
    if (line.find("\\begin{tabular}") != std::string::npos) columns = line.size() - line.find("{l") - 2;
    if (line.find("\\end{") != std::string::npos) {
      ASSERT_FALSE(open.empty()) << line;
      EXPECT_EQ(open.back(), line.substr(name)) << line;
      open.pop_back();
    }
    if (!line.ends_with(" \\\\")) continue;
    EXPECT_EQ(separators + 1, static_cast<std::ptrdiff_t>(columns)) << line;
    ++lines;
  }
  EXPECT_TRUE(open.empty());
  EXPECT_GT(lines, 3);
}

TEST(ResultsLatex, IsBalancedWhateverThingsAreCalled) {
  expect_balanced(results_latex(results()));
  const std::string evil = "a & b } \\end{tabular} % $x_1^2$ # ~ {\n \"q\"";
  std::vector<ResultRow> rows = results();
  for (const ResultRow& each : results()) {
    rows.push_back(each);
    rows.back().model = evil;
  }
  rows.push_back(result_row(evil, evil, evil, evil, 1, 5));
  expect_balanced(results_latex(rows));
  EXPECT_EQ(escape_latex("[*] 50 % & $x_1^2$ {#}~\\\n<ü>"),
            "{[}{*}] 50 \\% \\& \\$x\\_1\\textasciicircum{}2\\$ \\{\\#\\}\\textasciitilde{}\\textbackslash{} "
            "\\textless{}ü\\textgreater{}");
}

}  // namespace
}  // namespace koine
