#include "reports/markup.hpp"

#include "base/text.hpp"

namespace cowvet::reports {

std::string markup_safe(std::string_view text) {
  std::string out;
  for (const char c : base::escape(text)) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

}  // namespace cowvet::reports
