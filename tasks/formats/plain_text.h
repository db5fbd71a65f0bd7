#pragma once

// Plain text, one example a line; lines without any character but blanks are left out.

#include <filesystem>
#include <string>
#include <vector>

#include "tasks/formats/request.h"

namespace koine {

struct TextFile {
  std::filesystem::path path;
  std::vector<std::string> lines;
  bool labelled = true;  ///< masked tokens are their own labels

  void append(TextFile&& more);
};

/// The first request.max_examples lines (0: all). UserError naming the file where it holds no text.
TextFile read_plain_lines(const FoundFile& file, const ReadRequest& request);

}  // namespace koine
