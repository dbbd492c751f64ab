-- What pandoc's classes become outside HTML.
-- In HTML, `[forward]{.forward}` and `::: {.answer}` stay a span and a div, and style.css dresses them.
-- `::: {.fold summary="..."}` is folded wherever a page can be; on paper it stands open.

local lines = { forward = true, reverse = true, target = true }

local function wrapped(before, content, after)
  table.insert(content, 1, before)
  table.insert(content, after)
  return content
end

function Span(span)
  if FORMAT == "gfm" then
    for _, class in ipairs(span.classes) do
      if lines[class] then
        return pandoc.Strong(span.content)
      end
    end
    return span.content
  end
  if FORMAT == "typst" then
    for _, class in ipairs(span.classes) do
      if lines[class] then
        return wrapped(
          pandoc.RawInline("typst", "#" .. class .. "[" ),
          span.content,
          pandoc.RawInline("typst", "]")
        )
      end
    end
  end
end

local function folded(div)
  local words = div.attributes.summary:gsub("&", "&amp;"):gsub("<", "&lt;")
  local opened = pandoc.RawBlock("html", '<details class="fold">\n<summary>' .. words .. "</summary>")
  return wrapped(opened, div.content, pandoc.RawBlock("html", "</details>"))
end

function Div(div)
  if div.classes:includes("fold") then
    return FORMAT == "typst" and div.content or folded(div)
  end
  if FORMAT == "gfm" then
    if div.classes:includes("answer") then
      return pandoc.BlockQuote(div.content)
    end
    return div.content
  end
  if FORMAT == "typst" and div.classes:includes("answer") then
    return wrapped(pandoc.RawBlock("typst", "#answer["), div.content, pandoc.RawBlock("typst", "]"))
  end
end

-- At the beginning of a cell these would begin a heading or a list.
function Str(str)
  if FORMAT == "typst" and str.text:match("^[=+/-]+$") then
    return pandoc.RawInline("typst", "\\" .. str.text)
  end
end

-- pandoc gives wide tables columns by their dashes, which are all alike: typst knows better how wide words and numbers are.
function Table(tbl)
  if FORMAT ~= "typst" then
    return nil
  end
  for _, column in ipairs(tbl.colspecs) do
    column[2] = nil
  end
  return tbl
end

-- A repository browser makes an anchor of the words of a heading and ignores ours: links follow.
function Pandoc(doc)
  if FORMAT ~= "gfm" then
    return nil
  end
  local anchors = {}
  doc:walk({
    Header = function(header)
      local words = pandoc.text.lower(pandoc.utils.stringify(header)):gsub("[%p]", function(sign)
        return (sign == "-" or sign == "_") and sign or ""
      end)
      for _, sign in ipairs({ "‘", "’", "“", "”", "…" }) do
        words = words:gsub(sign, "")
      end
      anchors["#" .. header.identifier] = "#" .. words:gsub(" ", "-")
    end,
  })
  return doc:walk({
    Link = function(link)
      link.target = anchors[link.target] or link.target
      return link
    end,
  })
end

function Math(math)
  if FORMAT == "gfm" then -- some repository browsers refuse \operatorname
    math.text = math.text
      :gsub("\\operatorname%*(%b{})", "\\mathop{\\mathrm%1}\\limits")
      :gsub("\\operatorname(%b{})", "\\mathop{\\mathrm%1}")
    return math
  end
  if FORMAT == "typst" then -- pandoc writes a named operator as a string, which typst spaces and indexes as text
    local source = pandoc.write(pandoc.Pandoc({ pandoc.Plain({ math }) }), "typst"):gsub("%s+$", "")
    source = source
      :gsub('upright%("', "upright(\1") -- words inside formulas stay words
      :gsub('"(arg[^"]*)"', "op(\1%1\1, limits: #true)")
      :gsub('"(%a+)"', "op(\1%1\1)")
      :gsub("\1", '"')
    return pandoc.RawInline("typst", source)
  end
end
