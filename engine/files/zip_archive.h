#pragma once

// The entries of a zip archive in memory whose entries are stored, not compressed, as torch.save writes it: found through
// the central directory (PKWARE APPNOTE 6.3.10, sections 4.3.7 to 4.3.16), which knows the sizes that the local headers
// leave to data descriptors, with the zip64 extensions.

#include <map>
#include <string>
#include <string_view>

namespace koine {

/// Whether `bytes` begin as a zip archive does.
bool is_zip_archive(std::string_view bytes);

/// Name -> bytes of every entry; views into `archive`. UserError (`where` names the file) for a truncated or inconsistent
/// archive, a compressed or encrypted entry, two entries of one name, or an entry whose CRC-32 does not match.
std::map<std::string, std::string_view> read_zip_archive(std::string_view archive, const std::string& where);

}  // namespace koine
